"""The edit of a Compose file changes the image of one service and not a byte more (updates.md §11.4, §11.5)."""

from __future__ import annotations

import asyncio
import difflib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drydock.core.operation import FileEdit, ImageWanted, Operation, PostStart
from drydock.docker.own import translate
from drydock.updates.actions import Action
from drydock.updates.compose.edit import edit_image
from drydock.updates.compose.files import (
    ComposeProblem,
    FileChanged,
    FileNotWritten,
    Interpolated,
    sha256,
    write_edit,
)
from drydock.updates.compose.locate import fit, locate
from drydock.updates.compose.project import plan_files, post_start
from drydock.updates.preview import outlook

FULL = """\
# the site
x-common: &common
  restart: always   # keep
services:
  "web":
    <<: *common
    image: 'nginx:1.25.3'   # pinned on purpose
    labels: {rule: "Host(`a`)", n: 1}
  db:
    image: "postgres:16"
    command: [ "-c", 'x=y' ]

networks: {front: }
"""


def changed_lines(before: str, after: str) -> list[str]:
    return [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-"]


def test_only_the_value_changes() -> None:
    after = edit_image(FULL, "web", "nginx:1.27.0").compose
    assert after is not None
    assert changed_lines(FULL, after) == [
        "-     image: 'nginx:1.25.3'   # pinned on purpose",
        "+     image: 'nginx:1.27.0'   # pinned on purpose",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("services:\r\n  web:\r\n    image: a:1\r\n", "services:\r\n  web:\r\n    image: a:2\r\n"),
        ("\ufeffservices:\n  web: {image: a:1}", "\ufeffservices:\n  web: {image: a:2}"),
        ('services:\n  web:\n    image:   "a:1"', 'services:\n  web:\n    image:   "a:2"'),
        (
            "x: &i a:1\nservices:\n  web:\n    image: *i\n  other:\n    image: *i\n",
            "x: &i a:1\nservices:\n  web:\n    image: a:2\n  other:\n    image: *i\n",
        ),
        ("services:\n   web:\n     build: .\n", "services:\n   web:\n     image: a:2\n     build: .\n"),
        ("{services: {web: {image: a:1}}}", "{services: {web: {image: a:2}}}"),
    ],
)
def test_spellings(before: str, after: str) -> None:
    assert edit_image(before, "web", "a:2").compose == after


def test_variables_are_changed_where_their_text_stands() -> None:
    text = "services:\n  web:\n    image: app:${TAG}\n"
    env = "A=1\nexport TAG='1.0' # current\nB=2\n"
    assert edit_image(text, "web", "app:2.0", env).env == "A=1\nexport TAG='2.0' # current\nB=2\n"
    default = "services:\n  web:\n    image: app:${TAG:-1.0}\n"
    assert edit_image(default, "web", "app:2.0").compose == default.replace("1.0", "2.0")
    assert edit_image(default, "web", "app:2.0", env).env is not None
    escaped = "services:\n  web:\n    image: a:1$$x\n"
    assert edit_image(escaped, "web", "a:2").compose == "services:\n  web:\n    image: a:2\n"


@pytest.mark.parametrize(
    "value", ["${IMAGE}", "app:${TAG}", "${REPO}:${TAG:-1}", "app:v${TAG:-1}", "app:${TAG:?set it}"]
)
def test_what_is_not_certain_is_left_to_the_operator(value: str) -> None:
    with pytest.raises(Interpolated, match="by hand"):
        edit_image(f"services:\n  web:\n    image: {value}\n", "web", "app:2")


@pytest.mark.parametrize(
    "text",
    [
        "services:\n  web: {build: .}\n",
        "services:\n  other:\n    image: a:1\n",
        "services: [\n",
        "services:\n  web:\n    image: |\n      a:1\n",
        "x: &t {image: a:1}\nservices:\n  web: *t\n",
    ],
)
def test_impossible_edits_are_refused(text: str) -> None:
    with pytest.raises(ComposeProblem):
        edit_image(text, "web", "a:2")


words = st.text(alphabet="abc-_ #\"'", max_size=10)


@given(
    comment=words, others=st.lists(st.sampled_from(["db", "api", "cache"]), unique=True), style=st.sampled_from("'\" ")
)
def test_everything_around_the_value_stays(comment: str, others: list[str], style: str) -> None:
    quote = style.strip()
    blocks = [f"  {name}:\n    image: {name}:1 # {comment}\n" for name in [*others, "web"]]
    text = "services:\n" + "".join(blocks).replace("web:1", f"{quote}web:1{quote}")
    after = edit_image(text, "web", "web:2").compose
    assert after == text.replace(f"{quote}web:1{quote}", f"{quote}web:2{quote}")


# ── the file ────────────────────────────────────────────────────────────────────────────────────────────────────────


def an_edit(path: Path, after: str, *, backup: bool = False) -> FileEdit:
    before = path.read_bytes().decode()
    return FileEdit(
        path=str(path), before=before, after=after, sha_before=sha256(before), sha_after=sha256(after), backup=backup
    )


async def test_writing_keeps_mode_and_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("old\r\n")
    path.chmod(0o640)
    edit = an_edit(path, "new\r\n", backup=True)
    await write_edit(edit)
    await write_edit(edit)
    assert path.read_bytes() == b"new\r\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "compose.yaml.back").read_text() == "old\n"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["compose.yaml", "compose.yaml.back"]


async def test_a_link_is_followed_to_its_file(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text("old")
    link = tmp_path / "compose.yaml"
    link.symlink_to(real)
    await write_edit(an_edit(link, "new"))
    assert link.is_symlink()
    assert real.read_text() == "new"


async def test_an_edit_of_somebody_else_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("old")
    edit = an_edit(path, "new")
    path.write_text("edited by hand")
    with pytest.raises(FileChanged):
        await write_edit(edit)
    assert path.read_text() == "edited by hand"


async def test_a_missing_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("old")
    edit = an_edit(path, "new")
    path.unlink()
    with pytest.raises(FileNotWritten, match=r"compose\.yaml"):
        await write_edit(edit)


# ── the project ─────────────────────────────────────────────────────────────────────────────────────────────────────


def labels_of(folder: Path, *files: str) -> dict[str, str]:
    return {
        "com.docker.compose.project.working_dir": str(folder),
        "com.docker.compose.project.config_files": ",".join(files),
        "com.docker.compose.service": "web",
    }


def operation(reference: str = "app:2") -> Operation:
    return Operation(
        id="op",
        container_id="c",
        container_name="web",
        status="in-progress",
        phase="prepare",
        created_at=0,
        updated_at=0,
        watcher="local",
        from_version="1",
        to_version="2",
        wanted=ImageWanted(reference=reference, tag="2"),
    )


PLAIN = Action(type="docker", name="local")
STRICT = Action(type="dockercompose", name="x", reconciliation_mode="block", backup=True)


async def test_the_last_file_that_holds_the_image_is_edited(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  web:\n    image: app:1\n")
    (tmp_path / "override.yaml").write_text("services:\n  web:\n    post_start:\n      - command: echo hi\n")
    labels = labels_of(tmp_path, "compose.yaml", "override.yaml")
    plan = await plan_files(operation(), STRICT, labels, "app:1")
    assert [(Path(edit.path).name, edit.after) for edit in plan.edits] == [
        ("compose.yaml", "services:\n  web:\n    image: app:2\n"),
    ]
    assert plan.edits[0].backup
    assert plan.post_start[0].command == ["/bin/sh", "-c", "echo hi"]


async def test_a_drifted_file_blocks_or_warns(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  web:\n    image: other:1\n")
    labels = labels_of(tmp_path, "compose.yaml")
    with pytest.raises(ComposeProblem, match="reconcile"):
        await plan_files(operation(), STRICT, labels, "app:1")


async def test_for_a_plain_action_a_missing_file_is_a_warning(tmp_path: Path) -> None:
    plan = await plan_files(operation(), PLAIN, labels_of(tmp_path, "gone.yaml"), "app:1")
    assert plan.edits == []
    assert "gone.yaml" in plan.warnings[0]


async def test_containers_without_compose_have_no_files() -> None:
    plan = await plan_files(operation(), PLAIN, {}, "app:1")
    assert (plan.edits, plan.warnings) == ([], [])


def test_the_own_label_wins_and_folders_are_probed(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").touch()
    labels = {**labels_of(tmp_path, "a.yaml", "b.yaml"), "dd.compose.file": "own.yaml"}
    assert locate(labels, PLAIN).files == [tmp_path / "own.yaml"]
    del labels["dd.compose.file"]
    assert locate(labels, PLAIN).files == [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    by_folder = Action(type="dockercompose", name="x", file=str(tmp_path))
    assert locate({}, by_folder).files == [tmp_path / "docker-compose.yml"]


async def test_paths_of_the_host_are_read_and_written_where_we_see_them(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  web:\n    image: app:${V}\n")
    (tmp_path / ".env").write_text("V=1\n")
    labels = labels_of(Path("/srv/stack"), "/srv/stack/compose.yaml")
    mounts = [("/srv", "/nowhere"), ("/srv/stack", str(tmp_path))]
    plan = await plan_files(operation(), PLAIN, labels, "app:1", lambda path: translate(path, mounts))
    assert [(edit.path, edit.after) for edit in plan.edits] == [(str(tmp_path / ".env"), "V=2\n")]


@pytest.mark.parametrize(
    ("path", "seen"),
    [("/srv/a/b.yaml", "/in/b.yaml"), ("/srv/ab", "/out/ab"), ("/srv/a", "/in"), ("/else/x", "/else/x")],
)
def test_the_longest_mount_wins(path: str, seen: str) -> None:
    assert translate(path, [("/srv", "/out"), ("/srv/a", "/in")]) == seen


async def test_the_preview_shows_the_patch_and_nothing_around_it(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  web:\n    environment: {PASSWORD: x}\n    image: app:1\n")
    labels = labels_of(Path("/srv"), "/srv/compose.yaml")
    shown = await outlook(operation(), PLAIN, labels, "app:1", lambda path: path.replace("/srv", str(tmp_path)))
    assert shown is not None
    assert (shown.files, shown.paths) == (["/srv/compose.yaml"], [str(tmp_path / "compose.yaml")])
    assert (shown.service, shown.mutation.will_write, shown.mutation.dry_run) == ("web", True, False)
    assert shown.patch is not None
    assert shown.patch.diff.splitlines()[2:] == ["@@ -4 +4 @@", "-    image: app:1", "+    image: app:2"]
    assert (tmp_path / "compose.yaml").read_text().endswith("app:1\n")


async def test_the_preview_says_why_a_file_stays(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  web:\n    image: other:1\n")
    shown = await outlook(operation(), STRICT, labels_of(tmp_path, "compose.yaml"), "app:1", str)
    assert shown is not None
    assert (shown.mutation.will_write, shown.patch) == (False, None)
    assert "reconcile them first" in shown.warnings[0]
    assert await outlook(operation(), STRICT, {}, "app:1", str) is None


async def test_the_preview_shows_every_file_that_changes(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  web:\n    image: app:${V}\n")
    (tmp_path / ".env").write_text("SECRET=x\nV=1\n")
    shown = await outlook(operation(), PLAIN, labels_of(tmp_path, "compose.yaml"), "app:1", str)
    assert shown is not None
    assert [(Path(one.path).name, one.diff.splitlines()[2:]) for one in shown.patches] == [
        (".env", ["@@ -2 +2 @@", "-V=1", "+V=2"])
    ]
    assert shown.patch == shown.patches[0]


# ── whose file ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_own_label_that_leads_out_of_the_folder_is_ignored(tmp_path: Path) -> None:
    labels = {**labels_of(tmp_path, "a.yaml"), "dd.compose.file": "../other/b.yaml"}
    found = locate(labels, PLAIN)
    assert found.files == [tmp_path / "a.yaml"]
    assert "leads out of the project's folder" in found.warnings[0]
    assert locate({"dd.compose.file": "b.yaml"}, PLAIN).files == []
    assert locate({"dd.compose.file": "/srv/b.yaml"}, PLAIN).files == [Path("/srv/b.yaml")]


def compose_action(file: Path, **more: object) -> Action:
    return Action(type="dockercompose", name="x", file=str(file), **more)


async def test_an_action_with_a_file_serves_the_projects_of_this_file(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  web:\n    image: app:1\n")
    labels = labels_of(tmp_path, "compose.yaml")
    for file in (tmp_path / "compose.yaml", tmp_path):
        assert len((await plan_files(operation(), compose_action(file), labels, "app:1")).edits) == 1
    with pytest.raises(ComposeProblem, match=r"No compose updates were applied for container web: .* serves"):
        await plan_files(operation(), compose_action(tmp_path / "other.yaml"), labels, "app:1")


async def test_the_mount_prefix_fallback_compares_folder_and_file(tmp_path: Path) -> None:
    ours = tmp_path / "site" / "compose.yaml"
    ours.parent.mkdir()
    ours.write_text("services:\n  web:\n    image: app:1\n")
    labels = labels_of(Path("/host/site"), "/host/site/compose.yaml")
    with pytest.raises(ComposeProblem, match="serves"):
        await plan_files(operation(), compose_action(ours), labels, "app:1")
    plan = await plan_files(operation(), compose_action(ours, mount_prefix_fallback=True), labels, "app:1")
    assert [edit.path for edit in plan.edits] == [str(ours)]
    assert "MOUNTPREFIXFALLBACK" in plan.warnings[0]


@pytest.mark.parametrize(
    ("file", "named", "expected"),
    [
        ("/our/site/compose.yaml", "/host/site/compose.yaml", "verified"),
        ("/our/app/compose.yaml", "/host/app/compose.yaml", None),
        ("/our/x/app/compose.yaml", "/host/x/app/compose.yaml", "verified"),
        ("/our/shop.yaml", "/host/shop.yaml", "verified"),
        ("/our/compose.yaml", "/host/compose.yaml", None),
        ("/app/compose.yaml", "/app/compose.yaml", "verified"),
        ("/our/site/compose.yaml", "", "unknown"),
    ],
)
def test_for_admission_a_telling_end_of_the_path_is_enough(file: str, named: str, expected: str | None) -> None:
    labels = {"com.docker.compose.project.config_files": named} if named else {}
    assert fit(compose_action(Path(file)), labels) == expected
    assert fit(PLAIN, labels) == "unknown"


async def test_a_container_without_labels_is_found_by_its_image(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services:\n  db:\n    image: db:1\n  web:\n    image: app\n")
    plan = await plan_files(operation(), compose_action(file), {}, "app:latest")
    assert (plan.service, [edit.after for edit in plan.edits]) == (
        "web",
        ["services:\n  db:\n    image: db:1\n  web:\n    image: app:2\n"],
    )
    project = {"com.docker.compose.project": "site"}
    assert (await plan_files(operation(), compose_action(file), project, "app:latest")).edits == []


async def test_a_compose_action_needs_its_file(tmp_path: Path) -> None:
    catch_all = Action(type="dockercompose", name="x")
    with pytest.raises(
        ComposeProblem, match=r"No compose updates were applied for container web: .*gone.yaml does not"
    ):
        await plan_files(operation(), catch_all, labels_of(tmp_path, "gone.yaml"), "app:1")


async def test_drift_and_missing_images_are_told(tmp_path: Path) -> None:
    catch_all = Action(type="dockercompose", name="x")
    (tmp_path / "compose.yaml").write_text("services:\n  web:\n    image: other:1\n")
    plan = await plan_files(operation(), catch_all, labels_of(tmp_path, "compose.yaml"), "app:1")
    assert "declares other:1, but app:1 runs" in plan.warnings[0]
    (tmp_path / "compose.yaml").write_text("services:\n  web:\n    build: .\n")
    plan = await plan_files(operation(), catch_all, labels_of(tmp_path, "compose.yaml"), "app:1")
    assert (plan.edits, plan.warnings[0][:28]) == ([], "Service web has no image in ")


def test_post_start_in_every_form() -> None:
    words = {"command": ["echo", 1], "user": "root", "working_dir": "/srv", "privileged": True}
    hooks = post_start({"post_start": [{"command": "echo hi", "environment": {"A": None, "B": 2}}, words]})
    assert hooks[0] == PostStart(command=["/bin/sh", "-c", "echo hi"], environment=["A=", "B=2"])
    assert hooks[1] == PostStart(command=["echo", "1"], user="root", working_dir="/srv", privileged=True)
    for bad in (
        {"command": "x", "environment": {"A-B": "1"}},
        {"user": "root"},
        {"command": "x", "environment": ["1=2"]},
    ):
        with pytest.raises(ComposeProblem):
            post_start({"post_start": [bad]})


def test_a_file_that_refers_to_itself_too_often_is_refused() -> None:
    text = "x: &a 1\ny: [" + "*a," * 10_001 + "]\nservices:\n  web:\n    image: app:1\n"
    with pytest.raises(ComposeProblem, match="aliases"):
        edit_image(text, "web", "app:2")


# ── crashes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_write_that_a_crash_cut_short_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("image: app:1.0 # old\n")
    edit = an_edit(path, "image: app:2.11 # old\n")
    path.write_text("image: app:2.0 # old\n")
    with pytest.raises(FileChanged):
        await write_edit(edit)
    (tmp_path / "compose.yaml.drydock.lock").write_text("4194399:1")
    await write_edit(edit)
    assert path.read_text() == "image: app:2.11 # old\n"


async def test_a_lock_of_a_living_process_is_respected(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("old")
    (tmp_path / "compose.yaml.drydock.lock").write_text("1:1")
    with pytest.raises(FileNotWritten, match="locked"):
        await write_edit(an_edit(path, "new"), patience_s=0.1)
    assert path.read_text() == "old"


async def test_a_file_mounted_alone_is_written_in_place(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    real, path = tmp_path / "real.yaml", tmp_path / "compose.yaml"
    real.write_text("a long text of old\n")
    path.touch()
    script = f'mount --bind {real} {path} && exec {sys.executable} -c "$0" {path}'
    program = (
        "import asyncio, sys, pathlib; sys.path.insert(0, 'tests')\n"
        "from unit.updates.test_compose_edit import an_edit\n"
        "from drydock.updates.compose.files import write_edit\n"
        "asyncio.run(write_edit(an_edit(pathlib.Path(sys.argv[1]), 'new\\n')))\n"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        ["unshare", "-m", "--propagation", "private", "sh", "-ec", script, program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert real.read_text() == "new\n"
