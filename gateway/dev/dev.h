// `tollgate dev`: a whole sample company with a real model in one command, on this machine alone.
#pragma once

#include <string>

#include "gateway/cli/cli.h"

namespace tollgate::dev {

// Runs until SIGINT or SIGTERM, then drains and stops what it started. Prints to standard output; returns an exit code of cli.h.
int RunDev(const cli::DevCommand& command, const std::string& version);

// Whether a `tollgate dev` has the folder, ready or not yet.
bool IsTaken(const std::string& folder);

}  // namespace tollgate::dev
