"""Certificates from an ACME server (RFC 8555), such as Let's Encrypt."""
