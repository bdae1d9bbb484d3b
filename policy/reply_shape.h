// ReplyShape: what a whole reply must be, told from its text alone; nobody is asked. Immutable; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "policy/verdict.h"

namespace tollgate::policy {

class ReplyShape {
 public:
  virtual ~ReplyShape() = default;

  // How it reads the arguments of a tool's call, which are JSON: as they are written, or as their reader sees them (json_parts.h).
  enum class Reads { kWritten, kDecoded };
  virtual Reads reads() const = 0;

  virtual const char* detector() const = 0;  // "not_json", "code", "language"; static storage.
  // Empty if the text is as it must be; else what is wrong, in one word and without content. Static storage.
  virtual std::string_view Breaks(std::string_view text) const = 0;
  // The same in one sentence without content, for who writes policies.
  virtual std::string Why(std::string_view text) const = 0;
  // What is measured of the text, whether it is too much or not; nullopt: nothing is.
  virtual std::optional<Score> Measured(std::string_view) const { return std::nullopt; }
  // Whether a text that begins so may become what it must be; else it need not be waited for.
  virtual bool MayBecome(std::string_view begin) const = 0;
};

}  // namespace tollgate::policy
