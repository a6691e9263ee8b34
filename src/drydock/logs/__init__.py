"""What containers say: downloads, and live streams that share one Engine stream per container (container-api.md §9)."""
