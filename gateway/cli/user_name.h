// Who runs the program on this machine: the actor of changes that `tollgate migrate` and `tollgate dev` make.
#pragma once

#include <string>

namespace tollgate::cli {

// The effective user's name, or its number if it has none. For one thread.
std::string UserName();

}  // namespace tollgate::cli
