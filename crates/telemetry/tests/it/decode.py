"""Decodes captured OTLP requests with OpenTelemetry's own protobuf definitions, as an independent judge.

Usage: decode.py (binary|json) <signal>=<file> ...; prints one JSON object, by signal.
"""

import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}

encoding, decoded = sys.argv[1], {}
for argument in sys.argv[2:]:
    signal, path = argument.split("=", 1)
    message = REQUESTS[signal]()
    with open(path, "rb") as file:
        body = file.read()
    if encoding == "binary":
        message.ParseFromString(body)
    else:
        # Ids are hexadecimal in OTLP's JSON and base64 in protobuf's; the field names are what is judged here.
        json_format.Parse(body, message, ignore_unknown_fields=False)
    # A field that this definition does not know would be lost on the way back.
    assert encoding != "binary" or len(message.SerializeToString()) == len(body), "unknown fields"
    decoded[signal] = json_format.MessageToDict(message)
json.dump(decoded, sys.stdout)
