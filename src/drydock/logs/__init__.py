"""What containers print, and what the server itself logs.

Downloads and live streams of containers (container-api.md §9), and the buffer behind the log endpoints of the server
(platform.md §2.4, platform-api.md §11). Taking an Engine's bytes apart is `docker/logs.py`; routes are in `api/`.
"""
