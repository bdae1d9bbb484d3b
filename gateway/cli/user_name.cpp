// From the user database, not from $USER, which anybody may set: the name goes on record.
//
// Tested by tests/gateway/cli/words_test.cpp.
#include "gateway/cli/user_name.h"

#include <pwd.h>
#include <unistd.h>

namespace tollgate::cli {

std::string UserName() {
  const passwd* entry = getpwuid(geteuid());
  return entry == nullptr ? std::to_string(geteuid()) : entry->pw_name;
}

}  // namespace tollgate::cli
