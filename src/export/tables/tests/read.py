"""Reads a table as another program does and prints what it found as JSON."""

import csv
import json
import sys

try:
    import openpyxl
    import openpyxl.utils.escape
except ImportError:
    openpyxl = None  # csv needs none


def read_csv(path):
    with open(path, newline="", encoding="utf-8-sig", errors="strict") as file:
        return list(csv.reader(file, strict=True))


def read_xlsx(path):
    book = openpyxl.load_workbook(path)
    return {
        "title": book.properties.title,
        "created": book.properties.created.isoformat(),
        "sheets": [read_sheet(sheet) for sheet in book.worksheets],
    }


def read_sheet(sheet):
    return {
        "name": sheet.title,
        "frozen": sheet.freeze_panes,
        "filter": sheet.auto_filter.ref,
        "links": len(sheet._hyperlinks),
        "widths": {name: column.width for name, column in sheet.column_dimensions.items()},
        "rows": [[read_cell(cell) for cell in row] for row in sheet.iter_rows()],
    }


def read_cell(cell):
    if cell.value is None:
        return None
    value = cell.value
    if cell.is_date:
        value = value.isoformat()
    elif isinstance(value, str):
        # openpyxl leaves the escapes of the standard in strings that stand in their cell; Excel reads them.
        value = openpyxl.utils.escape.unescape(value)
    return {"is": "date" if cell.is_date else cell.data_type, "value": value, "quoted": cell.quotePrefix}


json.dump({"csv": read_csv, "xlsx": read_xlsx}[sys.argv[1]](sys.argv[2]), sys.stdout)
