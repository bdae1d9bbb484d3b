// The command line of `tollgate`: parses, talks to a running instance over gRPC, prints tables for people and JSON for scripts.
//
// What starts or changes things in this process (serve, dev, demo, migrate, models pull) or looks at this machine (models devices) is
// handed in, so that this room knows no server.
// Exit codes, the higher the worse: 0 done · 1 refused or blocked, and will be again · 2 the command line makes no sense · 3 not now, and
// nothing was done: send it again · 4 not known whether it was done: look before it is sent again · 5 found wrong: the audit log, the books
// or an answer is not what was recorded.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace tollgate::cli {

inline constexpr int kDone = 0;
inline constexpr int kRefused = 1;
inline constexpr int kUsage = 2;
inline constexpr int kUnavailable = 3;
inline constexpr int kInDoubt = 4;
inline constexpr int kFoundWrong = 5;

struct ServeCommand {
  std::string config_path = "tollgate.yaml";
};

struct DevCommand {
  std::string folder = "var/dev";  // Everything that lasts: cluster, keys, state.
  std::string model_file;          // Empty = the model that set-up installed.
  bool scripted = false;           // No model: answers by rote.
  int http_port = 8080;            // 0 = any free port, for each of these.
  int grpc_port = 8081;
  int admin_port = 8083;
  int probes_port = 8084;
  bool verbose = false;  // Diagnostics of the server too.
};

struct DemoCommand {
  std::string folder = "var/dev";
  bool scripted = false;  // When it has to start its own.
};

struct MigrateCommand {
  std::string config_path = "tollgate.yaml";
  std::string owner;      // Whom the first key belongs to; empty = the operating system's user, and at a terminal alone.
  std::string new_owner;  // Whom one more owner's key is made for; empty = none is.
  std::string key_file;   // Where the key goes, a new file; empty = standard output.
  // Files with the owner's URLs of the two databases; both empty = the configuration's URLs are the owner's.
  std::string url_file;
  std::string keys_url_file;
  std::optional<std::string> lost_keys;     // Why it goes on without the content keys that are lost.
  std::optional<std::string> lost_records;  // The same of records.
};

struct PullCommand {
  std::string source;  // A path, an HTTP(S) URL or s3://BUCKET/KEY.
  std::string folder = "/var/lib/tollgate/models";
  std::string name;    // The file's name there; empty = the source's.
  std::string sha256;  // 64 hexadecimal digits.
};

// A GPU of this machine, as `models devices` shows it; what is not known is empty, or -1.
struct DeviceLine {
  std::int64_t index = -1;
  std::string name;
  std::string uuid;
  std::string capability;
  std::int64_t memory_bytes = -1;
  std::int64_t free_bytes = -1;
  std::int64_t utilisation_percent = -1;
  std::int64_t temperature_celsius = -1;
  std::string ecc;               // "on" or "off".
  std::int64_t ecc_errors = -1;  // Not corrected.
};

struct DeviceLines {
  std::vector<DeviceLine> devices;
  std::string driver;
  std::string runtime;
  std::vector<std::string> notes;
};

// What is handed in. Those that return an exit code print what they have to say themselves.
struct Programs {
  std::function<int(const ServeCommand&)> serve;
  std::function<int(const DevCommand&)> dev;
  std::function<int(const DemoCommand&)> demo;
  std::function<int(const MigrateCommand&)> migrate;
  std::function<int(const PullCommand&)> pull;
  std::function<DeviceLines()> devices;
  std::string version;
};

struct Streams {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool interactive = false;  // `in` is a terminal.
  // `out` and `err` are: there, and nowhere else, what others wrote is printed without what would act on a terminal.
  bool out_terminal = false;
  bool err_terminal = false;
};

// Runs one command line; `args` without the program's name. Returns the exit code.
int Run(const std::vector<std::string>& args, const Programs& programs, const Streams& streams);

// docs/cli.md: the help of every command.
std::string Manual();

}  // namespace tollgate::cli
