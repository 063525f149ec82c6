"""The database: base classes, column types, unit of work, engines, bulk statements, errors."""
