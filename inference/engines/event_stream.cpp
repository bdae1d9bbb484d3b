// How it works. Lines end with \n or \r\n; an empty one ends an event. Comments and other fields are passed over, but count as bytes of
// their line, so that nothing grows without bound.
//
// Tested by tests/inference/event_stream_test.cpp.
#include "inference/engines/event_stream.h"

#include <utility>

namespace tollgate::inference {

bool EventStream::Push(std::string_view bytes, std::vector<std::string>& events) {
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view part = bytes.substr(0, end);
    if (line_.size() + part.size() > event_bytes_max_) return false;
    line_ += part;
    if (end == std::string_view::npos) return true;
    bytes.remove_prefix(end + 1);
    const std::string line = std::exchange(line_, {});
    if (!Line(line, events)) return false;
  }
  return true;
}

bool EventStream::Line(std::string_view line, std::vector<std::string>& events) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.empty()) {
    if (std::exchange(has_data_, false)) events.push_back(std::exchange(data_, {}));
    return true;
  }
  if (!line.starts_with("data:")) return true;
  line.remove_prefix(5);
  if (line.starts_with(' ')) line.remove_prefix(1);
  if (data_.size() + line.size() + 1 > event_bytes_max_) return false;
  if (has_data_) data_ += '\n';
  has_data_ = true;
  data_ += line;
  return true;
}

}  // namespace tollgate::inference
