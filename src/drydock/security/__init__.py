"""What is inside an image, and whether it may run: scans, the gate, signatures, SBOM (security.md)."""
