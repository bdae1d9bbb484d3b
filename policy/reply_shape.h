// ReplyShape: what a whole reply must be, told from its text alone; nobody is asked. Immutable; any thread.
#pragma once

#include <string>
#include <string_view>

namespace tollgate::policy {

class ReplyShape {
 public:
  virtual ~ReplyShape() = default;

  virtual const char* detector() const = 0;  // "not_json", "code", "language"; static storage.
  // Empty if the text is as it must be; else what is wrong, in one word and without content. Static storage.
  virtual std::string_view Breaks(std::string_view text) const = 0;
  // The same in one sentence without content, for who writes policies.
  virtual std::string Why(std::string_view text) const = 0;
  // Whether a text that begins so may become what it must be; else it need not be waited for.
  virtual bool MayBecome(std::string_view begin) const = 0;
};

}  // namespace tollgate::policy
