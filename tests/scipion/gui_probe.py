"""Opens a project window and a protocol form, and prints what they show as JSON. Needs a display of its own.

Usage: gui_probe.py PROJECT PROTOCOL_CLASS [SCREENSHOT.png]
"""

import json
import os
import shutil
import subprocess
import sys
import tkinter
import tkinter.ttk

from continuousflex_dl.tests.environment import load_plugins, prepare

prepare()
project_name, protocol_name = sys.argv[1:3]
screenshot = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else None  # loading a project changes the folder

import pwem  # noqa: E402
from pyworkflow.gui.project import ProjectWindow  # noqa: E402
from pyworkflow.project import Manager  # noqa: E402

load_plugins()
manager = Manager()
if not manager.hasProject(project_name):
    manager.createProject(project_name)
window = ProjectWindow(manager.getProjectPath(project_name))


def texts(widget):
    """Texts of all labels, buttons and tree rows below a widget."""
    found = []
    if "text" in (widget.keys() or ()):
        found.append(str(widget.cget("text")))
    if isinstance(widget, tkinter.ttk.Treeview):
        pending = list(widget.get_children())
        while pending:
            item = pending.pop()
            found.append(str(widget.item(item, "text")))
            pending.extend(widget.get_children(item))
    for child in widget.winfo_children():
        found.extend(texts(child))
    return found


def open_form():
    kind = pwem.Domain.getProtocols()[protocol_name]
    window.viewWidget._openProtocolForm(window.project.newProtocol(kind))  # a nested loop: returns when it is closed


def toplevels(widget):
    """All windows below a widget."""
    found = [child for child in widget.winfo_children() if isinstance(child, tkinter.Toplevel)]
    return found + [window for child in widget.winfo_children() for window in toplevels(child)]


def report(tries=30):
    forms = [form for form in toplevels(window.root) if "Protocol Run" in form.title()]
    if not forms and tries:
        window.root.after(1000, report, tries - 1)
        return
    shown = {
        "title": forms[0].title().strip() if forms else "",
        "form": texts(forms[0]) if forms else [],
        "project": texts(window.root),
    }
    if screenshot and shutil.which("import"):
        subprocess.call(["import", "-window", "root", screenshot])
    print(json.dumps(shown), flush=True)
    os._exit(0)  # a server thread of the window would keep the process alive


window.root.after(1500, open_form)
window.root.after(4000, report)
window.show()
