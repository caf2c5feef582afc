"""The notebook of docs/: its cells executed without Jupyter, its outputs stored, and its page of the site.

python docs/notebook.py       executes docs/notebook.ipynb and stores what it shows (`make notebook`)
"""

import ast
import base64
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
NOTEBOOK = Path(__file__).with_suffix(".ipynb")
PARAMETERS = "parameters"  # tag of the cell whose names a caller may set, as papermill has it


def read_notebook() -> dict[str, Any]:
    """Return the notebook as JSON values."""
    found: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return found


def execute(notebook: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> None:
    """Execute the code cells in order, in one namespace, and put their outputs into them.

    Args:
        parameters: names that are set after the cell tagged `parameters`.
    """
    import matplotlib

    matplotlib.use("agg")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        count += 1
        cell["execution_count"] = count
        cell["outputs"] = _outputs("".join(cell["source"]), namespace, count)
        if PARAMETERS in cell["metadata"].get("tags", ()):
            namespace |= parameters or {}


def _outputs(source: str, namespace: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Execute one cell; return what it printed, the value of its last line unless `;` ends it, and its figures."""
    from matplotlib import pyplot

    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "notebook", "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "notebook", "eval"), namespace)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if value is not None and not source.rstrip().endswith(";"):
        data = {"text/plain": _lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            data = {"text/html": _lines(value._repr_html_()), "text/plain": [type(value).__name__]}
        outputs.append({"output_type": "execute_result", "execution_count": count, "data": data, "metadata": {}})
    for number in pyplot.get_fignums():
        picture = io.BytesIO()
        pyplot.figure(number).savefig(picture, dpi=80, metadata={"Software": None})
        encoded = base64.b64encode(picture.getvalue()).decode()
        outputs.append({"output_type": "display_data", "data": {"image/png": encoded}, "metadata": {}})
    pyplot.close("all")
    return outputs


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def notebook_page() -> str:
    """Return the notebook as a page of the site, with its stored outputs."""
    parts = []
    for cell in read_notebook()["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                parts.append(f'<img alt="what the cell above draws" src="data:image/png;base64,{data["image/png"]}">')
            elif "text/html" in data:
                lines = "".join(data["text/html"]).splitlines()
                parts.append("\n".join(line.strip() for line in lines if line.strip()))  # indented lines would be code
            else:
                text = "".join(data.get("text/plain", output.get("text", [])))
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Execute the notebook in a folder of its own, and store what it shows."""
    sys.path.insert(0, str(ROOT))
    notebook = read_notebook()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        execute(notebook)
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
