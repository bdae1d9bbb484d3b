// `tollgate demo`: the whole story against a running `tollgate dev`, told as it happens, each step checked.
#pragma once

#include "gateway/cli/cli.h"

namespace tollgate::dev {

// Uses the `tollgate dev` of the folder, or starts one and ends it afterwards. Prints to standard output. 0 only if every step did what it
// says.
int RunDemo(const cli::DemoCommand& command);

}  // namespace tollgate::dev
