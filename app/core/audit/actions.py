"""The words of audit records, by which one is found, and what a person reads instead: actions, and types of events.

An action that nothing records any more stays here: the log keeps it, and clients know them as an enumeration.
"""

from collections.abc import Mapping
from typing import Final

from app.core.messages import Term

ACTIONS: Final[Mapping[str, Term]] = {
    # Changes of objects, each with a version.
    "create": Term("Created", "创建"),
    "update": Term("Changed", "修改"),
    "delete": Term("Deleted", "删除"),
    "restore": Term("Restored", "恢复"),
    "revert": Term("Reverted", "撤销"),
    "assign": Term("Assigned", "分配"),
    "extend": Term("Extended", "延长"),
    "release": Term("Released", "释放"),
    "password_change": Term("Password changed", "修改密码"),
    # Events that change no version.
    "import": Term("Imported", "导入"),
    "export": Term("Exported", "导出"),
    "login": Term("Signed in", "登录"),
    "login_failed": Term("Sign-in failed", "登录失败"),
    "login_new_address": Term("Signed in from a new address", "从新地址登录"),
    "lockout": Term("Locked out", "账户锁定"),
    "transfer": Term("Handed over", "移交"),
    "unlock": Term("Unlocked", "解锁"),
    "logout": Term("Signed out", "退出登录"),
    "password_reset": Term("Password reset", "重置密码"),
    "token_create": Term("Token created", "创建令牌"),
    "token_revoke": Term("Token revoked", "吊销令牌"),
    "resume": Term("Sealing resumed", "恢复封存"),
    "denied": Term("Refused", "被拒绝"),
}

EVENT_TYPES: Final[Mapping[str, Term]] = {
    "imports": Term("Imports", "导入"),
    "personal_tokens": Term("Personal tokens", "个人令牌"),
    "audit_logs": Term("Audit log", "审计日志"),
}
"""The types of records that belong to no resource. Those of `denied` have the name of the blueprint that refused."""
