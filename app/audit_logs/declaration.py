"""The audit log as a read-only resource."""

from app.audit_logs.schemas import AuditLogSchema
from app.core.audit.models import AuditLog
from app.core.http.access import Role
from app.resource import Resource

resource = Resource(
    model=AuditLog,
    schema=AuditLogSchema,
    titles=("Audit log", "审计日志"),
    search=(AuditLog.username, AuditLog.resource_name, AuditLog.ip_address, AuditLog.reason),
    read=Role.ADMIN,
    write=Role.ADMIN,
)
