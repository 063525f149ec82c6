"""The OpenAPI document: its operations and schemas, and the pages that show it."""
