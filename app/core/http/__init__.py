"""HTTP: application, blueprint, envelope, access, request parsing, rate limits, OpenAPI, security headers."""
