"""Metadata of encoding version 1, which datasets that were begun with it continue to have.

It is frozen: a change would give the later rows of these datasets other bytes than an undisturbed build.
"""

from __future__ import annotations

from imagemill.data.records import Drawing

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    "<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    "</Iptc4xmpExt:DigitalSourceType>"
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def generation_parameters(drawing: Drawing, size: tuple[int, int], model: str) -> str:
    """Generation parameters in the format of AUTOMATIC1111's web UI. ``size``: width, height in pixels."""
    settings = {
        "Steps": drawing.steps,
        "CFG scale": drawing.guidance_scale,
        "Seed": drawing.seed,
        "Size": f"{size[0]}x{size[1]}",
        "Model": model,
        "Version": "imagemill",
    }
    line = ", ".join(f"{name}: {value}" for name, value in settings.items() if value is not None)
    negative = f"\nNegative prompt: {drawing.negative_prompt}" if drawing.negative_prompt else ""
    return f"{drawing.prompt}{negative}\n{line}"
