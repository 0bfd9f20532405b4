"""Servers that nobody of us wrote, started on loopback for tests. `install.sh` puts them into a folder."""
