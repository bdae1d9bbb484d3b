// EventStream: server-sent events, cut out of bytes as they come. One thread.
// The format: https://html.spec.whatwg.org/multipage/server-sent-events.html, of which only `data` matters here.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::inference {

class EventStream {
 public:
  // An event may have so many bytes, unless it is known why it may have more.
  static constexpr std::size_t kEventBytesMax = 1 << 20;

  explicit EventStream(std::size_t event_bytes_max = kEventBytesMax) : event_bytes_max_(event_bytes_max) {}

  // Appends the data of each event that `bytes` completes. False: an event is longer than allowed; nothing more can be read.
  bool Push(std::string_view bytes, std::vector<std::string>& events);

  bool clean() const { return line_.empty() && data_.empty(); }  // No event is cut in its middle.

 private:
  bool Line(std::string_view line, std::vector<std::string>& events);

  const std::size_t event_bytes_max_;
  std::string line_;  // What of the last line has come.
  std::string data_;  // Of the event that is not complete.
  bool has_data_ = false;
};

}  // namespace tollgate::inference
