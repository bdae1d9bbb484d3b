// What the tests of models' processes share: pools that use them, and a look at the processes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include "tests/inference/support.h"

namespace tollgate::inference::test {

// What worker_main.cpp becomes.
WorkerOptions TestWorker();

// Scripted models in a process each. "NAME/FAULT" has a fault that worker_main.cpp knows.
PoolOptions ProcessOptions(const std::vector<std::string>& models, int slots = 4);
std::unique_ptr<Pool> ProcessPool(PoolOptions options);
inline std::unique_ptr<Pool> ProcessPool(const std::vector<std::string>& models = {"script"}, int slots = 4) {
  return ProcessPool(ProcessOptions(models, slots));
}

// The processes of the model that are children of this one.
std::vector<pid_t> Processes(const std::string& model);
pid_t ProcessOf(const std::string& model);  // The one there is.

// The first model's sequence ended because its process did.
void CheckLost(const Heard& heard);

// Asks the model until it answers, through refusals that tell to try again.
std::string Answer(Pool& pool, const std::string& text, const std::string& model = "script");

SequenceRequest AskModel(const Pool& pool, const std::string& model, const std::string& text);

}  // namespace tollgate::inference::test
