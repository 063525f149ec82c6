// What the states of an import are called. Apart from the other texts of imports, because the home page shows them too.

import { dictionary } from "../../i18n.svelte.js";

export const stateName = dictionary(
  {
    queued: "waiting",
    validating: "reading",
    ready: "ready",
    invalid: "has errors",
    applying: "being applied",
    applied: "applied",
    failed: "failed",
    cancelled: "cancelled",
    reverting: "being undone",
    reverted: "undone",
  },
  {
    queued: "等待中",
    validating: "读取中",
    ready: "就绪",
    invalid: "有错误",
    applying: "应用中",
    applied: "已应用",
    failed: "失败",
    cancelled: "已取消",
    reverting: "撤销中",
    reverted: "已撤销",
  },
);
