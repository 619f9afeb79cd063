"""Views that show a figure or a file on the screen; the figures themselves are made in ``plots``."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path

from matplotlib.figure import Figure
from pyworkflow.viewer import View


class FigureView(View):
    """A matplotlib figure in a window of its own, with the usual tool bar."""

    def __init__(self, figure: Figure, title: str):
        self.figure = figure
        self.title = title

    def getFigure(self) -> Figure:
        return self.figure

    def show(self):
        import tkinter

        from matplotlib.backends.backend_tkagg import FigureCanvasTkAgg, NavigationToolbar2Tk

        # inside the project window a Toplevel is one more window of it; alone, a root with its own loop is needed
        alone = tkinter._default_root is None
        window = tkinter.Tk() if alone else tkinter.Toplevel()
        window.title(self.title)
        canvas = FigureCanvasTkAgg(self.figure, master=window)
        NavigationToolbar2Tk(canvas, window)
        canvas.get_tk_widget().pack(side="top", fill="both", expand=True)
        canvas.draw()
        if alone:
            window.mainloop()


class ReportView(View):
    """An HTML report in the web browser of the user."""

    def __init__(self, path: str):
        self.path = path

    def show(self):
        webbrowser.open_new_tab(Path(os.path.abspath(self.path)).as_uri())
