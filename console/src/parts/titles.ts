// Titles of what is no field of a resource: parameters of requests, and facts in records of events.

import type { Labels } from "../i18n.svelte.js";

export const OTHER_TITLES: Readonly<Record<string, Labels>> = {
  address: { en: "Address", zh: "地址" },
  count: { en: "Number", zh: "数量" },
  counted_since: { en: "Counted since", zh: "计数起始" },
  create: { en: "Created", zh: "新建" },
  current_password: { en: "Current password", zh: "当前密码" },
  delete: { en: "Deleted", zh: "删除" },
  expires_at: { en: "End", zh: "结束时间" },
  file: { en: "File", zh: "文件" },
  format: { en: "Format", zh: "格式" },
  gpu_ids: { en: "GPUs", zh: "GPU" },
  image: { en: "Picture", zh: "图片" },
  name: { en: "Name", zh: "名称" },
  network: { en: "Kind of network", zh: "网络类型" },
  networks: { en: "Networks", zh: "网络" },
  new_password: { en: "New password", zh: "新密码" },
  password: { en: "Password", zh: "密码" },
  place: { en: "Place", zh: "地点" },
  query: { en: "Conditions", zh: "查询条件" },
  reason: { en: "Reason", zh: "原因" },
  requests: { en: "Requests", zh: "请求次数" },
  scopes: { en: "Scopes", zh: "权限范围" },
  to: { en: "Hand over to", zh: "移交给" },
  token: { en: "Token", zh: "令牌" },
  update: { en: "Changed", zh: "更改" },
  user_id: { en: "User", zh: "用户" },
  username: { en: "Username", zh: "用户名" },
};
