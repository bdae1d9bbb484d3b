// What the schema says of its fields, read from the descriptors. Only for this room's files.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/descriptor.h>

#include "tollgate/v1/config.pb.h"

namespace tollgate::config {

using Field = google::protobuf::FieldDescriptor;
using Descriptor = google::protobuf::Descriptor;

const tollgate::v1::Setting& SettingOf(const Field& field);

// The default as it would stand in a file; empty if there is none or it is the empty text.
std::string DefaultOf(const Field& field, std::string_view path);

// "whole number, 0 to 65535", "true or false", "llama or scripted", "text", "list", "section".
std::string TypeWords(const Field& field);

// Every field of the schema, depth first in the order of the file, with its dotted path ("listeners.grpc.port", "pool.models.slots").
struct Entry {
  const Field* field;
  std::string path;
  int depth;
};
std::vector<Entry> AllFields();

}  // namespace tollgate::config
