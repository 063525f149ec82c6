import { meta } from "../../api/meta.svelte.js";
import { dictionary, label } from "../../i18n.svelte.js";

export const t = dictionary(
  {
    title: "Audit log",
    who: "Who",
    what: "What",
    object: "Object",
    changes: "Changes",
    when: "When",
    where: "From where",
    why: "Why",
    keyword: "Words",
    action: "Action",
    type: "Kind of object",
    field: "Field that changed",
    from: "Old value",
    to: "New value",
    since: "Since",
    until: "Until",
    address: "Address or network",
    any: "Any",
    search: "Search",
    clear: "Clear",
    retired: "Servers taken out of service",
    deleted: "Deletions",
    imports: "Imports",
    failedLogins: "Failed sign-ins",
    refusals: "Refusals",
    moreConditions: "By what changed",
    none: "No record matches. Remove a condition, or ask for a longer time.",
    newer: "Newer",
    older: "Older",
    atLeast: "Records: {n} or more",
    total: "Records: {n}",
    leftOut: "Creations are not searched here: choose the action “Create” to find them.",
    export: "Export",
    close: "Close",
    oneRequest: "Everything of this request",
    history: "Everything about this object",
    proof: "Download the proof",
    restore: "Restore…",
    before: "Before",
    after: "After",
    deletedObject: "The object as it was",
    client: "Program",
    request: "Request",
    token: "By a personal token",
    nobody: "the platform",
    restoreTitle: "Restore what this record describes",
    restoreWhat: "This comes back:",
    restoreNow: "Restore",
    restored: "Restored: {what}",
    conflicts: "In the way:",
    leftOutOfRestore: "Not restored: {n} references to objects that no longer exist.",
    reason: "Reason, for the audit log",
    cancel: "Cancel",
    items: "{n} more",
  },
  {
    title: "审计日志",
    who: "操作人",
    what: "操作",
    object: "对象",
    changes: "变更",
    when: "时间",
    where: "来源",
    why: "原因",
    keyword: "关键词",
    action: "操作",
    type: "对象类型",
    field: "变更的字段",
    from: "旧值",
    to: "新值",
    since: "起始日期",
    until: "截止日期",
    address: "地址或网段",
    any: "不限",
    search: "查询",
    clear: "清除",
    retired: "停用的服务器",
    deleted: "删除",
    imports: "导入",
    failedLogins: "登录失败",
    refusals: "被拒绝的请求",
    moreConditions: "按变更内容",
    none: "没有匹配的记录。请减少条件，或扩大时间范围。",
    newer: "较新",
    older: "较早",
    atLeast: "至少 {n} 条记录",
    total: "{n} 条记录",
    leftOut: "此处不查询创建记录：请选择操作“创建”。",
    export: "导出",
    close: "关闭",
    oneRequest: "同一请求的全部记录",
    history: "此对象的全部记录",
    proof: "下载证明",
    restore: "恢复…",
    before: "变更前",
    after: "变更后",
    deletedObject: "删除前的对象",
    client: "客户端",
    request: "请求",
    token: "通过个人令牌",
    nobody: "平台",
    restoreTitle: "恢复此记录描述的内容",
    restoreWhat: "将恢复：",
    restoreNow: "恢复",
    restored: "已恢复：{what}",
    conflicts: "存在冲突：",
    leftOutOfRestore: "未恢复：{n} 个指向已不存在对象的引用。",
    reason: "原因（写入审计日志）",
    cancel: "取消",
    items: "另有 {n} 项",
  },
);

const actionText = dictionary(
  {
    create: "Created",
    update: "Changed",
    delete: "Deleted",
    restore: "Restored",
    revert: "Reverted",
    assign: "Assigned",
    release: "Released",
    password_change: "Password changed",
    import: "Imported",
    export: "Exported",
    login: "Signed in",
    login_failed: "Sign-in failed",
    login_new_address: "Signed in from a new address",
    lockout: "Locked out",
    transfer: "Handed over",
    unlock: "Unlocked",
    logout: "Signed out",
    password_reset: "Password reset",
    token_create: "Token created",
    token_revoke: "Token revoked",
    denied: "Refused",
  },
  {
    create: "创建",
    update: "修改",
    delete: "删除",
    restore: "恢复",
    revert: "撤销",
    assign: "分配",
    release: "释放",
    password_change: "修改密码",
    import: "导入",
    export: "导出",
    login: "登录",
    login_failed: "登录失败",
    login_new_address: "从新地址登录",
    lockout: "账户锁定",
    transfer: "移交",
    unlock: "解锁",
    logout: "退出登录",
    password_reset: "重置密码",
    token_create: "创建令牌",
    token_revoke: "吊销令牌",
    denied: "被拒绝",
  },
);

export const ACTIONS = [
  "create",
  "update",
  "delete",
  "restore",
  "revert",
  "assign",
  "release",
  "import",
  "export",
  "login",
  "login_failed",
  "login_new_address",
  "lockout",
  "unlock",
  "logout",
  "password_change",
  "password_reset",
  "token_create",
  "token_revoke",
  "transfer",
  "denied",
] as const;

type Action = (typeof ACTIONS)[number];

/** What happened, in a word; an action that this release does not know is shown as it is. */
export function nameOfAction(action: string): string {
  return (ACTIONS as readonly string[]).includes(action) ? actionText(action as Action) : action;
}

export function nameOfType(type: string): string {
  const resource = meta.resource(type);
  return resource ? label(resource.labels) : type;
}

export function nameOfField(type: string, name: string): string {
  const [first = name, ...rest] = name.split(".");
  const field = meta.resource(type)?.fields.find((one) => one.name === first);
  return field ? [label(field.labels), ...rest].join(": ") : name;
}

/** A value of a field as a person reads it: enumerations by their labels. */
export function shownIn(type: string, name: string, value: unknown): string {
  const choices = meta.resource(type)?.fields.find((one) => one.name === name)?.choices;
  const choice = choices?.find((one) => one.value === value);
  return choice ? label(choice.labels) : shown(value);
}

/** A value as text. */
export function shown(value: unknown): string {
  if (value === null || value === undefined || value === "") return "—";
  if (Array.isArray(value)) return value.length ? value.map(shown).join(", ") : "—";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export type Change = { field: string; before: unknown; after: unknown; hasBefore: boolean };

/** The changes of a record; events have facts instead, which have no value before. */
export function changesOf(changes: Record<string, unknown>): Change[] {
  return Object.entries(changes).map(([field, change]) => {
    if (typeof change === "object" && change !== null && "old" in change && "new" in change)
      return { field, before: change.old, after: change.new, hasBefore: true };
    return { field, before: undefined, after: change, hasBefore: false };
  });
}
