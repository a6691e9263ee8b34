"""The 102 worked examples of watching.md §17.1, with the value after "better" (§18) where a row has one.

Row 72 follows B13 (a bare date is suggested only when nothing else is there). `rule` is what decided.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Example(NamedTuple):
    """One row: running tag, other tags, options, then what is expected."""

    number: int
    local: str
    others: str
    options: dict[str, Any]
    version: str | None
    precision: str
    tag: str | None
    severity: str | None
    insight: tuple[str, str] | None
    suggested: str | None
    reason: tuple[str, int] | None
    rule: str


# fmt: off
EXAMPLES = [
    Example(1, "4.7.2", "4.7.1 4.7.9 4.8.0", {}, "4.7.2", "specific", None, None, ("4.8.0", "minor"), None, None, "pinned-tag"),
    Example(2, "v4.7.2", "v4.9.1 v5.0.3 5.1.0", {}, "4.7.2", "specific", None, None, ("v5.0.3", "major"), None, None, "pinned-tag"),
    Example(3, "4.7.2", "4.7.1 4.6.9", {}, "4.7.2", "specific", None, None, None, None, None, "pinned-tag"),
    Example(4, "4.7.2", "4.7 4 5", {}, "4.7.2", "specific", None, None, None, None, None, "pinned-tag"),
    Example(5, "2.3.1-slim", "2.4.0 2.4.0-slim 3.0.0-bookworm", {}, "2.3.1-slim", "specific", None, None, ("2.4.0-slim", "minor"), None, None, "pinned-tag"),
    Example(6, "2.3.1-cuda", "3.1.0", {}, "2.3.1-cuda", "specific", None, None, None, None, None, "pinned-tag"),
    Example(7, "2.3.1", "2.4.0-slim 2.4.0-rc.1", {}, "2.3.1", "specific", None, None, None, None, None, "pinned-tag"),
    Example(8, "6.0.0-beta.2", "6.0.0-beta.5 6.0.0", {}, "6.0.0-beta.2", "specific", None, None, ("6.0.0-beta.5", "patch"), None, None, "pinned-tag"),
    Example(9, "6.1.2-rc.1", "6.1.2", {}, "6.1.2-rc.1", "specific", None, None, ("6.1.2", "patch"), None, None, "pinned-tag"),
    Example(10, "6.1.2-rc.1", "6.1.2 6.2.0-rc.1", {}, "6.1.2-rc.1", "specific", None, None, ("6.2.0-rc.1", "minor"), None, None, "pinned-tag"),
    Example(11, "7.2.4-alpine", "7.2.4-alpine3.20", {}, "7.2.4-alpine", "specific", None, None, None, None, None, "pinned-tag"),
    Example(12, "7.2.4-alpine", "7.2.6-alpine3.20 7.2.6-alpine", {}, "7.2.4-alpine", "specific", None, None, ("7.2.6-alpine", "patch"), None, None, "pinned-tag"),
    Example(13, "7.2.4-alpine3.19", "7.2.4-alpine3.20", {}, "7.2.4-alpine3.19", "specific", None, None, ("7.2.4-alpine3.20", "patch"), None, None, "pinned-tag"),
    Example(14, "2024.5.1", "2024.12.3 2025.1.0", {}, "2024.5.1", "specific", None, None, ("2025.1.0", "major"), None, None, "pinned-tag"),
    Example(15, "5.14.0.8821", "5.14.0.9017 5.15.1.9102", {}, "5.14.0-8821", "specific", None, None, ("5.15.1.9102", "minor"), None, None, "pinned-tag"),
    Example(16, "4.7.2", "4.8.0", {"pin_info": False}, "4.7.2", "specific", None, None, None, None, None, "pinned-tag"),
    Example(17, "4.7.2", "4.8.0", {"digest_watch": False}, "4.7.2", "specific", None, None, ("4.8.0", "minor"), None, ("PINNED-NO-DIGEST", 0), "pinned-tag"),
    Example(18, "4.7.2", "4.6.0", {"digest_watch": False}, "4.7.2", "specific", None, None, None, None, ("PINNED-NO-DIGEST", 0), "pinned-tag"),
    Example(19, "4.7.2", "4.8.0 sha-99aa 9.0.0.sig", {"family": "anything"}, "4.7.2", "specific", None, None, ("4.8.0", "minor"), None, None, "pinned-tag"),
    Example(20, "4.7.2", "4.8.0 4.9.0-rc1 5.0.0", {"exclude": "^5"}, "4.7.2", "specific", None, None, ("4.8.0", "minor"), None, None, "pinned-tag"),
    Example(21, "2023.8.2", "2023.8.1 2023.8.4 2023.9.0b1 dev", {"include": "^\\d+\\.\\d+\\.\\d+$"}, "2023.8.2", "specific", "2023.8.4", "patch", None, None, None, "newest-in-family"),
    Example(22, "1.26.0", "1.26.3 1.27.1 1.28.0 latest", {"include": "^1\\.2[67]\\.\\d+$"}, "1.26.0", "specific", "1.27.1", "minor", None, None, None, "newest-in-family"),
    Example(23, "1.26.0", "1.25.9", {"include": "^\\d+\\.\\d+\\.\\d+$"}, "1.26.0", "specific", None, None, None, None, None, "nothing-newer"),
    Example(24, "3.4.1", "3.4.2 3.5.0-rc1 3.5.0", {"include": "^3\\.", "exclude": "rc"}, "3.4.1", "specific", "3.5.0", "minor", None, None, None, "newest-in-family"),
    Example(25, "3.4.1", "3.4.2-rc1 3.5.0-beta2", {"include": "^3\\."}, "3.4.1", "specific", None, None, None, None, ("STRICT-FAMILY", 2), "outside-family"),
    Example(26, "3.4.1-rc1", "3.4.1-rc2 3.4.1 3.5.0-rc1", {"include": "^3\\."}, "3.4.1-rc1", "specific", "3.5.0-rc1", "minor", None, None, None, "newest-in-family"),
    Example(27, "9.1.0", "8.4.2 8.5.0 7.9.9", {"include": "^8\\."}, "9.1.0", "specific", "8.5.0", "major", None, None, None, "running-tag-excluded"),
    Example(28, "9.1.0", "v9.2.0 v9.3.0", {"include": "^v?9\\."}, "9.1.0", "specific", None, None, None, None, ("STRICT-FAMILY", 2), "outside-family"),
    Example(29, "9.1.0", "v9.2.0 v9.3.0", {"include": "^v?9\\.", "family": "loose"}, "9.1.0", "specific", "v9.3.0", "minor", None, None, None, "newest-in-family"),
    Example(30, "3.4.1", "3.4.2 3.5.0", {"include": "("}, "3.4.1", "specific", "3.5.0", "minor", None, None, None, "newest-in-family"),
    Example(31, "3.4.1", "3.4.2 3.5.0 sha-0a1b2c3", {"include": "."}, "3.4.1", "specific", "3.5.0", "minor", None, None, None, "newest-in-family"),
    Example(32, "3.4.1", "3.4.2 3.5.0", {"include": "^nothing$"}, "3.4.1", "specific", None, None, None, None, None, "nothing-left"),
    Example(33, "3.4.1", "3.4.2 3.5.0", {"include": "^3\\.", "exclude": "["}, "3.4.1", "specific", "3.5.0", "minor", None, None, None, "newest-in-family"),
    Example(34, "5.1.4", "5.1.5 20.04.1", {"include": "^\\d"}, "5.1.4", "specific", "5.1.5", "patch", None, None, None, "newest-in-family"),
    Example(35, "2025.11.1", "2026.02.0 2026.01.4", {"include": "^\\d"}, "2025.11.1", "specific", "2026.02.0", "major", None, None, None, "newest-in-family"),
    Example(36, "2025.01.3", "2025.02.0 2025.3.1", {"include": "^\\d"}, "2025.1.3", "specific", "2025.3.1", "minor", None, None, None, "newest-in-family"),
    Example(37, "5.14.0.8821", "5.14.0.9017 5.14.0.900", {"include": "^\\d+(\\.\\d+){3}$"}, "5.14.0-8821", "specific", "5.14.0.9017", "prerelease", None, None, None, "newest-in-family"),
    Example(38, "5.14.0.8821-ls240", "5.14.0.9017-ls244 5.15.1.9102-ls250", {"include": "-ls\\d+$"}, "5.14.0", "specific", "5.15.1.9102-ls250", "minor", None, None, None, "newest-in-family"),
    Example(39, "5.14.0.8821-ls240", "5.14.0.9017-ls244 5.14.0.8821-ls241", {"include": "-ls\\d+$"}, "5.14.0", "specific", "5.14.0.9017-ls244", "prerelease", None, None, None, "newest-in-family"),
    Example(40, "1.2.3-ls98", "1.2.3-ls99 1.2.4-ls3", {"include": "-ls\\d+$"}, "1.2.3-ls98", "specific", "1.2.4-ls3", "patch", None, None, None, "newest-in-family"),
    Example(41, "1.2.3-ls99", "1.2.3-ls100", {"include": "-ls\\d+$"}, "1.2.3-ls99", "specific", "1.2.3-ls100", "prerelease", None, None, None, "newest-in-family"),
    Example(42, "v1.9.4", "v1.10.0 v2.0.1", {"family": "loose"}, "1.9.4", "specific", "v2.0.1", "major", None, None, None, "newest-in-family"),
    Example(43, "v1.9.4", "1.10.0 v1.9.5", {"family": "loose"}, "1.9.4", "specific", "v1.9.5", "patch", None, None, None, "newest-in-family"),
    Example(44, "1.9.4-openvino", "1.9.5 2.0.0 2.0.0-openvino", {"family": "loose"}, "1.9.4-openvino", "specific", "2.0.0-openvino", "major", None, None, None, "newest-in-family"),
    Example(45, "2.0.0-rc.3", "2.0.0 2.0.0-rc.4", {"family": "loose"}, "2.0.0-rc.3", "specific", "2.0.0-rc.4", "prerelease", None, None, None, "newest-in-family"),
    Example(46, "2.0.0-rc.3", "2.0.0", {"family": "loose"}, "2.0.0-rc.3", "specific", None, None, None, None, None, "nothing-newer"),
    Example(47, "5.1.4", "5.1.5 20.04.1", {"family": "loose"}, "5.1.4", "specific", "20.04.1", "major", None, None, None, "newest-in-family"),
    Example(48, "3.3.0", "3.3 3.2.1", {"family": "loose"}, "3.3.0", "specific", None, None, None, None, None, "nothing-newer"),
    Example(49, "v3.3.0", "v3.4 v3.4.0-alpine", {"family": "loose"}, "3.3.0", "specific", None, None, None, None, None, "nothing-newer"),
    Example(50, "1.4.0", "sha256abc 1.4.1.sig 1.4.1 1.5.0-nightly", {"family": "loose"}, "1.4.0", "specific", "1.4.1", "patch", None, None, None, "newest-in-family"),
    Example(51, "10.9.3", "10.10.0 10.9.11 10.2.99", {"family": "loose"}, "10.9.3", "specific", "10.10.0", "minor", None, None, None, "newest-in-family"),
    Example(52, "1.4.0", "1.5.0", {"family": " Loose "}, "1.4.0", "specific", "1.5.0", "minor", None, None, None, "newest-in-family"),
    Example(53, "version-2.1.0", "version-2.2.0 2.9.0 v2.9.0", {"family": "loose"}, "2.1.0", "specific", "version-2.2.0", "minor", None, None, None, "newest-in-family"),
    Example(54, "16-alpine", "17-alpine 16.4-alpine", {}, "16.0.0", "floating", None, None, ("17-alpine", "major"), None, None, "floating-tag"),
    Example(55, "16-alpine", "17-alpine 16.4-alpine 18", {"family": "loose"}, "16.0.0", "floating", "17-alpine", "major", None, None, None, "newest-in-family"),
    Example(56, "16-alpine", "17-alpine", {"include": "^\\d+-alpine$"}, "16.0.0", "floating", None, None, ("17-alpine", "major"), None, ("FLOATING-FILTER", 1), "floating-tag"),
    Example(57, "16-alpine", "17-alpine 17-alpine3.21", {"include": "alpine", "family": "loose"}, "16.0.0", "floating", "17-alpine", "major", None, None, None, "newest-in-family"),
    Example(58, "16-alpine", "17-alpine", {"digest_watch": False}, "16.0.0", "floating", None, None, ("17-alpine", "major"), None, ("FLOATING-NO-DIGEST", 0), "floating-tag"),
    Example(59, "1.20", "1.21 1.21.3 2", {"family": "loose"}, "1.20.0", "floating", "1.21", "minor", None, None, None, "newest-in-family"),
    Example(60, "15", "16 16.2", {"include": "^\\d+$", "family": "loose"}, "15.0.0", "floating", "16", "major", None, None, None, "newest-in-family"),
    Example(61, "v3", "v4 4 v4.1", {"family": "loose"}, "3.0.0", "floating", "v4", "major", None, None, None, "newest-in-family"),
    Example(62, "22.04", "24.04 24.10", {"family": "loose"}, None, "floating", "24.10", "unknown", None, None, None, "newest-in-family"),
    Example(63, "22.04", "24.04 24.10 23.5", {"include": "^\\d\\d\\."}, None, "floating", "24.10", "unknown", None, None, None, "include-decides"),
    Example(64, "2024-06-01", "2025-01-10 2024-09-30", {"family": "loose"}, "2024.0.0", "floating", "2025-01-10", "major", None, None, None, "newest-in-family"),
    Example(65, "2024-06-01", "2024-09-30", {"family": "loose"}, "2024.0.0", "floating", "2024-09-30", "prerelease", None, None, None, "newest-in-family"),
    Example(66, "20240601", "20250110", {"family": "loose"}, "20240601.0.0", "floating", "20250110", "major", None, None, None, "newest-in-family"),
    Example(67, "jdk17", "jdk21 jre21", {"family": "loose"}, "17.0.0", "floating", "jdk21", "major", None, None, None, "newest-in-family"),
    Example(68, "b4719", "b4801 b998", {"family": "loose"}, "4719.0.0", "floating", "b4801", "major", None, None, None, "newest-in-family"),
    Example(69, "RELEASE.2024-01-13T07-53-03Z", "RELEASE.2025-02-03T01-00-00Z latest", {"family": "loose"}, "2024.0.0", "floating", "RELEASE.2025-02-03T01-00-00Z", "major", None, None, None, "newest-in-family"),
    Example(70, "latest", "1.8.0 1.9.2 2.0.0-rc1", {}, None, "floating", None, None, None, "1.9.2", None, "no-include"),
    Example(71, "latest", "2026.7.1 2026.8.0.dev202607050315 3.11-bullseye", {}, None, "floating", None, None, None, "2026.7.1", None, "no-include"),
    Example(72, "latest", "20250110 4.2.0", {}, None, "floating", None, None, None, "4.2.0", None, "no-include"),
    Example(73, "latest", "4.2 4.2.0 4.3", {}, None, "floating", None, None, None, "4.3", None, "no-include"),
    Example(74, "latest", "v4.2.0 v4.1.9 v5.0.0-beta.1", {"include": "^latest$"}, None, "floating", None, None, None, None, None, "nothing-left"),
    Example(75, "latest", "v4.2.0 v4.1.9 v5.0.0-beta.1", {"include": "^v4\\."}, None, "floating", "v4.2.0", "unknown", None, "v4.2.0", None, "include-decides"),
    Example(76, "latest", "1.9.2 2.1.0", {"exclude": "^2\\."}, None, "floating", None, None, None, "1.9.2", None, "no-include"),
    Example(77, "LATEST", "1.9.2", {}, None, "floating", None, None, None, "1.9.2", None, "no-include"),
    Example(78, "stable", "4.2.0", {}, None, "floating", None, None, None, None, None, "no-include"),
    Example(79, "nightly", "v1.2 v1.2.3 v1.1.9 edge", {"include": "^v"}, None, "floating", "v1.2.3", "unknown", None, None, None, "include-decides"),
    Example(80, "nightly", "unstable", {"include": "n"}, None, "floating", None, None, None, None, None, "nothing-left"),
    Example(81, "main-amd64", "main-arm64 1.0.0", {}, "64.0.0", "floating", None, None, None, None, None, "floating-tag"),
    Example(82, "sha-0a1b2c3", "sha-ffee123 1.2.0", {}, "0.0.0", "floating", None, None, None, None, None, "floating-tag"),
    Example(83, "1.0.0-269-7b368146", "1.0.0-273-21d7efa6 1.0.0-99-aa00bb11", {"include": "^\\d+\\.\\d+\\.\\d+-\\d+-", "transform": "^(\\d+\\.\\d+\\.\\d+-\\d+)-.*$ => $1"}, "1.0.0-269", "specific", "1.0.0-273-21d7efa6", "prerelease", None, None, None, "newest-in-family"),
    Example(84, "1.0.0-269-7b368146", "1.0.0-269-21d7efa6", {"include": "^\\d", "transform": "^(\\d+\\.\\d+\\.\\d+-\\d+)-.*$ => $1"}, "1.0.0-269", "specific", None, None, None, None, None, "nothing-newer"),
    Example(85, "5.14.0.8821-ls99", "5.14.0.8821-ls100 5.14.0.9017-ls2", {"include": "-ls\\d+$", "transform": "^([\\d.]+)-ls(\\d+)$ => $1.$2"}, "5.14.0-8821.99", "specific", "5.14.0.9017-ls2", "prerelease", None, None, None, "newest-in-family"),
    Example(86, "release-7.1", "release-7.2 release-8.0", {"transform": "^release-(\\d+)\\.(\\d+)$ => $1.$2.0", "family": "loose"}, "7.1.0", "specific", "release-8.0", "major", None, None, None, "newest-in-family"),
    Example(87, "release-7.1", "release-7.2 release-8.0", {"transform": "^release-(\\d+)\\.(\\d+)$ => $1.$2.0"}, "7.1.0", "specific", None, None, ("release-8.0", "major"), None, None, "pinned-tag"),
    Example(88, "RELEASE.2024-01-13T07-53-03Z", "RELEASE.2024-11-02T00-00-00Z RELEASE.2024-03-01T10-00-00Z", {"include": "^RELEASE", "transform": "^RELEASE\\.(\\d+)-(\\d+)-(\\d+)T.*$ => $1.$2.$3"}, "2024.1.13", "specific", "RELEASE.2024-11-02T00-00-00Z", "minor", None, None, None, "newest-in-family"),
    Example(89, "v3.1.0", "v3.2.0 3.3.0", {"transform": "^v(.+)$ => $1", "family": "loose"}, "3.1.0", "specific", "v3.2.0", "minor", None, None, None, "newest-in-family"),
    Example(90, "2024-06-01", "2024-07-15 2025-01-10", {"include": "^\\d{4}-", "transform": "^(\\d+)-(\\d+)-(\\d+)$ => $1.$2.$3"}, "2024.6.1", "specific", "2025-01-10", "major", None, None, None, "newest-in-family"),
    Example(91, "8u352-b08", "8u362-b09 8u402-b06", {"include": "^8u", "transform": "^8u(\\d+)-b(\\d+)$ => 8.$1.$2"}, "8.352.8", "specific", "8u402-b06", "minor", None, None, None, "newest-in-family"),
    Example(92, "1.2.3", "1.2.4 v1.2.5 1.2.4-alpine 1.2", {"include": "."}, "1.2.3", "specific", "1.2.4", "patch", None, None, None, "newest-in-family"),
    Example(93, "1.2.3-bookworm", "1.2.4-bookworm-slim 1.2.4-trixie", {"include": "."}, "1.2.3-bookworm", "specific", None, None, None, None, ("STRICT-FAMILY", 2), "outside-family"),
    Example(94, "1.2.3-bookworm", "1.2.4-bookworm-slim 1.2.4-bookworm", {"include": "."}, "1.2.3-bookworm", "specific", "1.2.4-bookworm", "patch", None, None, None, "newest-in-family"),
    Example(95, "1.2.3-arm64", "1.2.4-amd64 1.3.0-amd64", {"include": "."}, "1.2.3-arm64", "specific", None, None, None, None, ("STRICT-FAMILY", 2), "outside-family"),
    Example(96, "1.2.3-debian-12-r3", "1.2.3-debian-12-r9 1.2.4-debian-12-r0 1.2.4-debian-11-r7", {"include": "."}, "1.2.3-debian-12-r3", "specific", "1.2.4-debian-12-r0", "patch", None, None, None, "newest-in-family"),
    Example(97, "1.2.3-debian-12-r9", "1.2.3-debian-12-r11 1.2.3-debian-12-r10", {"include": "."}, "1.2.3-debian-12-r9", "specific", "1.2.3-debian-12-r11", "prerelease", None, None, None, "newest-in-family"),
    Example(98, "1.2.3_8-jre", "1.2.4_1-jre 1.2.4_1-jdk", {"include": "."}, "1.2.3", "specific", "1.2.4_1-jre", "patch", None, None, None, "newest-in-family"),
    Example(99, "1.2.3_8-jre", "1.2.3_11-jre", {"include": "."}, "1.2.3", "specific", "1.2.3_11-jre", "prerelease", None, None, None, "newest-in-family"),
    Example(100, "1.2.3-RC1", "1.2.3-rc2 1.2.4-rc1", {"include": "."}, "1.2.3-RC1", "specific", "1.2.4-rc1", "patch", None, None, None, "newest-in-family"),
    Example(101, "1.2.3-rc.1", "1.2.4-rc2", {"include": "."}, "1.2.3-rc.1", "specific", "1.2.4-rc2", "patch", None, None, None, "newest-in-family"),
    Example(102, "1.2.3-alpine3.19", "1.2.3-alpine3.20 1.2.3-alpine", {"include": "."}, "1.2.3-alpine3.19", "specific", "1.2.3-alpine3.20", "prerelease", None, None, None, "newest-in-family"),
]
# fmt: on
