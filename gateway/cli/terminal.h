// What is printed on a terminal: text that others wrote (a model, a policy's author, another org's admin, whoever answers at the address)
// must not move the cursor, set the clipboard or the title, or turn lines around there. All that a command prints goes through here, so
// that no command can forget it. Into files and pipes every byte goes as it is.
//
// Costs a look at each character. One thread.
#pragma once

#include <memory>
#include <ostream>
#include <streambuf>

namespace tollgate::cli {

class Terminal {
 public:
  // `to` outlives it. Not a terminal: stream() is `to` itself.
  Terminal(std::ostream& to, bool is_terminal);
  ~Terminal();

  std::ostream& stream() { return tamed_ ? *tamed_ : to_; }

 private:
  std::ostream& to_;
  std::unique_ptr<std::streambuf> taming_;
  std::unique_ptr<std::ostream> tamed_;
};

}  // namespace tollgate::cli
