"""Texts that a browser or a terminal would obey, and pages taken apart to see whether it would."""

from html.parser import HTMLParser

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</style></svg></title><b>",
    '" onload="alert(1)',
    "[bold red]x[/]",
    "{{ 7 * 7 }}{% raw %}",
    "\x1b[31mred\x1b[0m\u202e\udc80",
    "javascript:alert(1)",
)
VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """A page taken apart: its tags, and its text by the element it stands in."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.texts = [], [], []
        self.feed(str(text))
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def named(self, *tags):
        return [attrs for tag, attrs in self.tags if tag in tags]

    def text(self, tag=None):
        return " ".join(data for where, data in self.texts if tag is None or where == tag)
