"""Audits: one attack job of a grid."""
