// A streambuf before the terminal's own. Text comes in pieces, as a model writes it: of a character whose end has not come yet the bytes
// are kept, and so is a carriage return, which only before the line's end does no harm.
//
// Tested by tests/gateway/cli/terminal_test.cpp.
#include "gateway/cli/terminal.h"

#include <string>
#include <string_view>

#include "base/encoding.h"
#include "gateway/cli/words.h"

namespace tollgate::cli {
namespace {

class Taming final : public std::streambuf {
 public:
  explicit Taming(std::streambuf& to) : to_(to) {}
  ~Taming() override { Give(kept_); }

 protected:
  int_type overflow(int_type byte) override {
    if (traits_type::eq_int_type(byte, traits_type::eof())) return traits_type::not_eof(byte);
    const char one = traits_type::to_char_type(byte);
    return xsputn(&one, 1) == 1 ? byte : traits_type::eof();
  }
  std::streamsize xsputn(const char* bytes, std::streamsize count) override {
    kept_.append(bytes, static_cast<std::size_t>(count));
    const std::size_t whole = kept_.ends_with('\r') ? kept_.size() - 1 : base::Utf8PrefixLength(kept_);
    const std::string text = kept_.substr(0, whole);
    kept_.erase(0, whole);
    return Give(text) ? count : 0;
  }
  int sync() override { return to_.pubsync(); }

 private:
  bool Give(std::string text) {
    for (std::size_t at = 0; (at = text.find("\r\n", at)) != std::string::npos;) text.erase(at, 1);
    text = Tamed(text, "\n\t");
    const auto size = static_cast<std::streamsize>(text.size());
    return to_.sputn(text.data(), size) == size;
  }

  std::streambuf& to_;
  std::string kept_;
};

}  // namespace

Terminal::Terminal(std::ostream& to, bool is_terminal) : to_(to) {
  if (!is_terminal) return;
  taming_ = std::make_unique<Taming>(*to.rdbuf());
  tamed_ = std::make_unique<std::ostream>(taming_.get());
  tamed_->setf(to.flags() & std::ios::unitbuf);
  tamed_->tie(to.tie());
}

Terminal::~Terminal() = default;

}  // namespace tollgate::cli
