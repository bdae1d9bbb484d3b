#include "tests/e2e/support/gateway.h"

#include <signal.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <stdexcept>

#include <grpcpp/client_context.h>

#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/http_client.h"

namespace tollgate::e2e {

std::unique_ptr<Process> Gateway::Launch(const Installation& installation, const InstanceOptions& options, const Spawning& how) {
  const std::string config = installation.Configure(options);
  const std::string program = options.program.empty() ? TollgateBinary() : options.program;
  return std::make_unique<Process>(std::vector<std::string>{program, "serve", "--config", config}, how);
}

Gateway::Gateway(const Installation& installation, const InstanceOptions& options, const Spawning& how)
    : process_(Launch(installation, options, how)) {
  const bool said = process_->WaitForErr("ready: grpc", milliseconds(60'000));
  const std::string text = process_->Err();
  static const std::regex line(R"(ready: grpc (\d+), http (\d+), admin (\d+), probes (\d+))");
  std::smatch match;
  if (!said || !std::regex_search(text, match, line)) throw std::runtime_error("tollgate serve did not come up:\n" + text);
  grpc_ = std::stoi(match[1]);
  http_ = std::stoi(match[2]);
  admin_ = std::stoi(match[3]);
  probes_ = std::stoi(match[4]);
  if (!Eventually([this] { return Ready(); }, milliseconds(30'000))) {
    throw std::runtime_error("tollgate serve is not ready: " + Get(probes_, "/readyz").body + "\n" + process_->Err());
  }
}

int Gateway::Stop(milliseconds patience) {
  process_->Signal(SIGTERM);
  return process_->Wait(patience).value_or(-1);
}

int Gateway::Readiness() const { return Get(probes_, "/readyz").status; }

bool Gateway::Serving() const {
  namespace health = grpc::health::v1;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  health::HealthCheckRequest request;
  request.set_service("tollgate.v1.Inference");
  health::HealthCheckResponse response;
  const grpc::Status status = health::Health::NewStub(ChannelTo(grpc_))->Check(&context, request, &response);
  if (!status.ok()) throw std::runtime_error("gRPC's health does not answer: " + status.error_message());
  return response.status() == health::HealthCheckResponse::SERVING;
}

std::string Gateway::Metrics() const { return Get(probes_, "/metrics").body; }

int Gateway::ModelProcess(const std::string& model) const {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream stat(entry.path() / "stat");
    int pid = 0, parent = 0;
    std::string name, state;
    if (!(stat >> pid >> name >> state >> parent) || parent != process_->pid() || state == "Z") continue;
    std::ifstream file(entry.path() / "cmdline");
    const std::string line((std::istreambuf_iterator<char>(file)), {});
    if (line.find(std::string("pool-worker") + '\0' + model + '\0') != std::string::npos) return pid;
  }
  return 0;
}

}  // namespace tollgate::e2e
