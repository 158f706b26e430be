"""What is published: the wheel with its lessons, the source distribution, and their page on the index."""

from __future__ import annotations

import re
import tarfile
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest
from hatchling.build import build_sdist, build_wheel

import unlearn_lib

ROOT = Path(__file__).resolve().parents[2]
HOME = "https://github.com/unlearn-lessons/unlearn-lessons"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return zipfile.ZipFile(folder / build_wheel(str(folder)))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    return message_from_string(wheel.read(name).decode())


def test_the_wheel_holds_the_package_and_both_editions_of_the_lessons(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = [path for path in (ROOT / "unlearn_lib").rglob("*") if path.is_file()]
    wanted = {path.relative_to(ROOT).as_posix() for path in package if "__pycache__" not in path.parts}
    notebooks = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "notebooks").glob("solutions/*.ipynb")]
    wanted |= {f"unlearn_lib/{path.relative_to(ROOT).as_posix()}" for path in notebooks}
    assert held == wanted
    assert {"unlearn_lib/py.typed", "unlearn_lib/command/site.css"} < held
    for path in notebooks:
        assert wheel.read(f"unlearn_lib/{path.relative_to(ROOT).as_posix()}") == path.read_bytes()


def test_the_wheel_brings_the_command(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
    assert "unlearn = unlearn_lib.__main__:main" in wheel.read(name).decode()


def test_the_version_has_one_source(metadata: Message) -> None:
    assert metadata["Name"] == "unlearn-lessons"
    assert metadata["Version"] == unlearn_lib.__version__
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    assert cited
    assert cited[1] == unlearn_lib.__version__


def test_the_page_on_the_index_has_no_relative_link(metadata: Message) -> None:
    page = str(metadata.get_payload())
    assert f"({HOME}/blob/main/notebooks/00_start_here.ipynb)" in page
    links = re.findall(r"\]\(([^)]*)\)", page)
    assert all(link.startswith(("https://", "#")) for link in links), links


def test_one_home_is_named_everywhere(metadata: Message) -> None:
    urls = metadata.get_all("Project-URL") or []
    assert len(urls) >= 4
    assert all(HOME in url for url in urls)
    for name in ("README.md", "CITATION.cff", "unlearn_lib/command/folder.py"):
        assert HOME in (ROOT / name).read_text(encoding="utf-8"), name


def test_every_python_that_is_asked_for_is_named_and_tried(metadata: Message) -> None:
    named = re.findall(r"Python :: (3\.\d+)$", "\n".join(metadata.get_all("Classifier") or []), re.M)
    assert metadata["Requires-Python"] == f">={named[0]}"
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    tried = re.findall(r'ubuntu-latest, python: "(3\.\d+)"', workflow)
    assert tried == named


def test_the_source_distribution_can_be_tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with tarfile.open(tmp_path / build_sdist(str(tmp_path))) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "ci/constraints.txt"}
    wanted |= {
        "tests/unit/test_package.py",
        "notebooks/src/00_start_here.py",
        "notebooks/00_start_here.ipynb",
    }
    assert wanted <= held
