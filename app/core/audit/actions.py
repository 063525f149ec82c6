"""The actions of audit records: what happened, in the word by which it is found."""

ACTIONS = (
    # Changes of objects, each with a version.
    "create",
    "update",
    "delete",
    "restore",
    "revert",
    "assign",
    "extend",
    "release",
    "password_change",
    # Events that change no version.
    "import",
    "export",
    "login",
    "login_failed",
    "login_new_address",
    "lockout",
    "transfer",
    "unlock",
    "logout",
    "password_reset",
    "token_create",
    "token_revoke",
    "denied",
)
