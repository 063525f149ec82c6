// What the navigation shows besides the resources, which come from `GET /api/meta`.

import type { Labels } from "../i18n.svelte.js";

type Link = { path: string; labels: Labels; admin?: boolean };

export const SECTIONS: readonly { title: Labels; links: readonly Link[] }[] = [
  {
    title: { en: "Work", zh: "工作" },
    links: [
      { path: "/estate", labels: { en: "Estate", zh: "资产结构" } },
      { path: "/imports", labels: { en: "Imports", zh: "导入" } },
      { path: "/gpu-board", labels: { en: "GPU board", zh: "GPU 看板" } },
    ],
  },
  {
    title: { en: "Administration", zh: "管理" },
    links: [
      { path: "/audit", labels: { en: "Audit log", zh: "审计日志" }, admin: true },
      { path: "/proof", labels: { en: "Proof", zh: "证明" }, admin: true },
      { path: "/people", labels: { en: "People", zh: "人员" }, admin: true },
    ],
  },
];
