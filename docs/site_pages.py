"""A hook of MkDocs: pages of the site that are made of files elsewhere, and links that lead out of the site.

The documents at the root of the repository, and the tutorial, are read where they lie: nothing is copied by hand.
"""

from __future__ import annotations

import base64
import posixpath
import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGE_BY_FILE = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "DECISIONS.md": "decisions.md",
    "SECURITY.md": "security.md",
    "docs/tutorial.ipynb": "tutorial.md",
}
"""Pages made of files that are no pages of docs/."""
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
FROM_README = re.compile(r"<!-- README: (.+?) -->")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds those pages."""
    for source, page in PAGE_BY_FILE.items():
        if source.endswith(".md"):
            files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    text, pictures = from_notebook(nbformat.read(ROOT / "docs/tutorial.ipynb", as_version=4))
    files.append(File.generated(config, "tutorial.md", content=text))
    for name, data in pictures.items():
        files.append(File.generated(config, name, content=data))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Sections of the README where a page asks for them, and links as the site needs them."""
    del config, files
    sources = {target: source for source, target in PAGE_BY_FILE.items()}
    place = page.file.src_uri
    text = with_links_of_the_site(markdown, sources.get(place, f"docs/{place}"))
    return FROM_README.sub(lambda found: with_links_of_the_site(readme_section(found[1]), "README.md"), text)


def readme_section(title: str) -> str:
    """What stands below a heading of the README, up to the next heading. Raises ValueError without it."""
    lines = (ROOT / "README.md").read_text().splitlines()
    begin = next((i for i, line in enumerate(lines) if line.lstrip("#") == f" {title}"), None)
    if begin is None:
        raise ValueError(f"README.md has no section {title!r}")
    section: list[str] = []
    in_code = False
    for line in lines[begin + 1 :]:
        in_code ^= line.startswith("```")
        if line.startswith("#") and not in_code:  # in code it is a comment
            break
        section.append(line)
    return "\n".join(section).strip()


def with_links_of_the_site(markdown: str, source: str) -> str:
    """The text of a file of the repository, whose links to other files lead to their pages; what is no page of the
    site, such as code, is named in place of a link."""

    def rewritten(found: re.Match[str]) -> str:
        text, target = found.groups()
        path, hash_sign, anchor = target.partition("#")
        if not path or "://" in path:
            return found[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        page = PAGE_BY_FILE.get(file) or file.removeprefix("docs/")
        if file == "README.md":
            return f"[{text}](quickstart-cluster.md)" if anchor else f"[{text}](index.md)"
        if file in PAGE_BY_FILE or file.startswith("docs/"):
            return f"[{text}]({page}{hash_sign}{anchor})"
        return f"{text} (`{file}`)" if text not in (file, f"`{file}`") else f"`{file}`"

    return LINK.sub(rewritten, markdown)


def from_notebook(notebook: Any) -> tuple[str, dict[str, bytes]]:
    """The notebook as a page, and its pictures by name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            if output.output_type == "stream":
                parts.append(f"```text\n{output.text.rstrip()}\n```")
            elif "image/png" in output.data:
                name = f"tutorial-{number:02d}.png"
                pictures[name] = base64.b64decode(output.data["image/png"])
                parts.append(f"![what the cell gives]({name})")
    return "\n\n".join(parts) + "\n", pictures
