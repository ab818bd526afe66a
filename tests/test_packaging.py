"""The requirements and the version of the package."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from mnist_lightning import __version__

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def requirements() -> dict[str, Requirement]:
    """Returns the requirements of the package and of its extras, by name."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return {
        requirement.name: requirement for group in groups for requirement in map(Requirement, group)
    }


@pytest.mark.parametrize(
    ("name", "bad", "advisory"),
    [
        ("filelock", "3.20.0", "CVE-2025-68146"),
        ("filelock", "3.20.2", "CVE-2026-22701"),
        ("keras", "3.13.1", "CVE-2026-1462"),
        ("lightning", "2.6.2", "GHSA-w37p-236h-pfx3"),
        ("lightning", "2.6.3", "GHSA-w37p-236h-pfx3"),
        ("lightning", "2.6.5", "CVE-2026-58659"),
        ("pillow", "12.2.0", "PYSEC-2026-2253"),
        ("torch", "2.9.1", "CVE-2026-24747"),
        ("torch", "2.10.0", "PYSEC-2026-139"),
    ],
)
def test_excludes_releases_with_known_vulnerabilities(name: str, bad: str, advisory: str) -> None:
    assert not requirements()[name].specifier.contains(bad)
    line = next(line for line in PYPROJECT.read_text().splitlines() if f'"{name}>=' in line)
    assert advisory in line


@pytest.mark.parametrize(("name", "major"), [("lightning", "3.0"), ("jsonargparse", "5.0")])
def test_excludes_the_next_major_release(name: str, major: str) -> None:
    assert not requirements()[name].specifier.contains(major)


def test_each_requirement_has_a_lower_bound() -> None:
    for name, requirement in requirements().items():
        assert any(clause.operator == ">=" for clause in requirement.specifier), name


def test_changelog_describes_this_version() -> None:
    changelog = (PYPROJECT.parent / ".github" / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {__version__} (" in changelog
