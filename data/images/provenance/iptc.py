"""XMP packet of a generated image: IPTC's Digital Source Type, and the AI fields of IPTC Photo Metadata 2025.1.

https://iptc.org/std/photometadata/specification/IPTC-PhotoMetadata
https://cv.iptc.org/newscodes/digitalsourcetype/
"""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

from imagemill.data.images.provenance.details import ModelDetails
from imagemill.data.records import Drawing

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"

GENERATED = f"{SOURCE_TYPES}trainedAlgorithmicMedia"
"""Made by a trained model, from nothing or from an image that such a model has made."""

EDITED = f"{SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"
"""A given image that was edited with a trained model."""

MAX_CHARACTERS = 6_000
"""Of the prompt and of the negative prompt each: at five bytes a character both fit into a JPEG's packet of 65,502."""

_CUT = " ... "

_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no form for (https://www.w3.org/TR/xml/#charsets)."""


def xmp_packet(drawing: Drawing, model: str, details: ModelDetails) -> str:
    """The packet. A very long prompt is cut in its middle."""
    fields = {
        "DigitalSourceType": EDITED if drawing.of_given else GENERATED,
        "AISystemUsed": model,
        "AISystemVersionUsed": details.revision,
        "AIPromptInformation": _prompts(drawing),
    }
    properties = "".join(
        f"<Iptc4xmpExt:{name}>{_text(value)}</Iptc4xmpExt:{name}>" for name, value in fields.items() if value
    )
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:xmp="http://ns.adobe.com/xap/1.0/">'
        f"{properties}<xmp:CreatorTool>imagemill</xmp:CreatorTool>"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    )


def _prompts(drawing: Drawing) -> str:
    prompt = _shortened(drawing.prompt)
    return f"{prompt}\nNegative prompt: {_shortened(drawing.negative_prompt)}" if drawing.negative_prompt else prompt


def _shortened(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    tail = MAX_CHARACTERS // 4
    return f"{text[: MAX_CHARACTERS - tail - len(_CUT)]}{_CUT}{text[-tail:]}"


def _text(value: str) -> str:
    return escape(_NOT_IN_XML.sub("\ufffd", value), {"\r": "&#13;"})
