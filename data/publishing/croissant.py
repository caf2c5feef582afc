"""Croissant 1.0 metadata (MLCommons, JSON-LD) of a published Parquet data set."""

from typing import Any

from data.publishing.card import CardFacts

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_DATA_TYPES = {"int64": "sc:Integer", "string": "sc:Text", "float32": "sc:Float", "bool": "sc:Boolean"}


def croissant(facts: CardFacts, *, date_published: str, version: str) -> dict[str, Any]:
    """Return the JSON-LD document: the Parquet files, and a record set with one field a column.

    Args:
        date_published: ISO 8601, such as "2026-11-24".
        version: of the data set, as MAJOR.MINOR.PATCH.
    """
    columns = [("image", "sc:ImageObject"), ("label", "sc:Integer")]
    columns += [(name, _DATA_TYPES[kind]) for name, kind in facts.extra_columns]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": facts.title,
        "description": f"{facts.num_images:,} labelled images {facts.origin()}. {facts.contents()}",
        "license": "https://choosealicense.com/licenses/other/",
        "url": "./",
        "citeAs": facts.title,
        "datePublished": date_published,
        "version": version,
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": "parquet-files",
                "name": "parquet-files",
                "description": "Parquet shards with the images as PNG.",
                "encodingFormat": "application/x-parquet",
                "includes": "data/*.parquet",
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "images",
                "name": "images",
                "field": [_field(name, kind) for name, kind in columns],
            }
        ],
    }


def _field(name: str, kind: str) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": "parquet-files"}, "extract": {"column": name}}
    if name == "image":
        source["transform"] = {"jsonPath": "bytes"}
    return {"@type": "cr:Field", "@id": f"images/{name}", "name": name, "dataType": kind, "source": source}
