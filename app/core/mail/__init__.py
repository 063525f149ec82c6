"""E-mail: transactional outbox and SMTP transport."""
