"""XML: xml, which is str as the server writes it.

Knows that a document's declaration names an encoding in binary format, and none in text (PostgreSQL manual, "XML Type";
src/backend/utils/adt/xml.c: print_xml_decl). Must not know what is in the document.
"""

from __future__ import annotations

import re

from ..adapt.adapters_map import AdaptContext
from ..adapt.encodings import UTF8, encode_text
from ..adapt.typeinfo import global_types
from ..protocol.constants import Format
from .string import StrDumperUnknown, TextLoader

__all__ = ["XmlBinaryDumper", "XmlBinaryLoader", "XmlDumper", "register_default_adapters"]

# As the server writes it, which is not how somebody may have written it into the document.
_declaration = rb'<\?xml version="([^"]*)" encoding="[^"]*"( standalone="(?:yes|no)")?\?>'


# What a document's author may have written, of which the server takes the encoding for that of the bytes.
_encoding = r"""^(<\?xml\s[^>]*?)\sencoding\s*=\s*(?:"[^"]*"|'[^']*')"""


class XmlDumper(StrDumperUnknown):
    """Dump the str of an xml, in text: found by the oid."""

    oid = global_types["xml"].oid


class XmlBinaryDumper(XmlDumper):
    """Dump the str of an xml, in binary, in UTF-8, which it is where it does not say another encoding."""

    format = Format.BINARY

    def dump(self, obj: str) -> bytes:
        return encode_text(re.sub(_encoding, r"\1", obj), UTF8)


class XmlBinaryLoader(TextLoader):
    """Load xml from binary, without the encoding in its declaration: it is a str, and the same as from text."""

    format = Format.BINARY

    def load(self, data: bytes) -> str | bytes:
        found = re.match(_declaration, data)
        if found is not None:
            version, standalone = found.groups()
            rest = data[found.end() :]
            if version == b"1.0" and not standalone:
                # In text there is no declaration without a reason, nor the line's end behind it.
                data = rest.removeprefix(b"\n")
            else:
                data = b'<?xml version="%b"%b?>' % (version, standalone or b"") + rest
        return super().load(data)


def register_default_adapters(context: AdaptContext) -> None:
    """Register xml."""
    for dumper in (XmlDumper, XmlBinaryDumper):
        context.adapters.register_dumper(None, dumper)
    # The last one is preferred.
    context.adapters.register_loader("xml", XmlBinaryLoader)
    context.adapters.register_loader("xml", TextLoader)
