// tollgate: see cli/cli.h for the command line, programs.cpp for what its commands start, pipeline/request.h for what the program is about.
//
// Tested by tests/e2e, which start the program.
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include <unistd.h>

#include "base/private_memory.h"
#include "gateway/programs.h"
#include "inference/worker/process.h"
#include "inference/worker/serve.h"

int main(int argc, char** argv) {
  // libggml's terminate handler, in place before this, would else start a debugger on a process whose memory is nobody's business.
  ::setenv("GGML_NO_BACKTRACE", "1", 0);
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (!args.empty() && args[0] == tollgate::inference::kWorkerCommand) return tollgate::inference::ServeWorker();
  tollgate::base::KeepMemoryPrivate();
  const auto terminal = [](int fd) { return isatty(fd) == 1; };
  const tollgate::cli::Streams streams{
      std::cin, std::cout, std::cerr, terminal(STDIN_FILENO), terminal(STDOUT_FILENO), terminal(STDERR_FILENO)};
  return tollgate::cli::Run(args, tollgate::MakePrograms(), streams);
}
