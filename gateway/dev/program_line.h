// How to type this program here, for lines to paste. Room-internal.
#pragma once

#include <string>

namespace tollgate::dev {

// "build/dev/bin/tollgate --folder /tmp/try": the program, by the shorter of its names, and the folder where it is not the default.
std::string ProgramLine(const std::string& folder);

}  // namespace tollgate::dev
