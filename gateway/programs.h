// The commands that run in this process, put together for the command line: serve and migrate here, dev and demo in their room.
#pragma once

#include "gateway/cli/cli.h"

namespace tollgate {

cli::Programs MakePrograms();

}  // namespace tollgate
