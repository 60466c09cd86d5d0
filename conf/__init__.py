"""Configuration groups, installed as automm.conf."""
