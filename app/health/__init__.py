"""Whether the platform and what it depends on are well."""
