// Fetch: brings a model's file into the folder of models, from a folder, an HTTP(S) URL or S3, and lets nothing stand there that is not the
// file that was meant. For the command line; blocks, for as long as the file is large.
//
// What has come lies in FILE.part beside its place, and a second call goes on where the first was broken off. FILE appears whole or not at
// all: its digest is compared and its header read first. Nothing that stands there is replaced, and of two calls for one FILE at a time,
// whichever processes they are in, the second is refused.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/crypto.h"
#include "base/status.h"

namespace tollgate::fetch {

struct FetchOptions {
  std::string source;     // A file's path, "http://…", "https://…" or "s3://BUCKET/KEY".
  std::string folder;     // Where it goes; must exist.
  std::string name;       // Its name there; empty = the last part of the source's path.
  base::Digest sha256{};  // What it must be.
  // S3: the environment's AWS_… by convention. No key: asked for without a signature.
  std::string s3_endpoint;  // "https://minio.example:9000", with the bucket in the path; empty = Amazon's.
  std::string s3_region = "us-east-1";
  std::string s3_key_id, s3_secret, s3_session_token;
  std::int64_t reserve_bytes = 256 << 20;            // Stay free on the folder's disk, for the others that need it.
  std::function<void(std::int64_t bytes)> progress;  // Bytes that are there, now and then. May be empty.
};

struct Fetched {
  std::string path;
  std::int64_t bytes = 0;
  std::int64_t resumed_from = 0;  // Bytes that an earlier call had brought.
  bool was_there = false;         // The file stood in its place already, with this digest.
};

// INVALID_ARGUMENT: a source, folder or name that makes no sense, or a file that is no sound GGUF. NOT_FOUND, PERMISSION_DENIED: the source
// has none, or not for these credentials; there is no such folder, or not for this user. UNAVAILABLE: broken off, what came is kept, try
// again; or another call for this file is running. RESOURCE_EXHAUSTED: the disk has no room; what came is kept. DATA_LOSS: all came, and it
// is another file; what came is removed. ALREADY_EXISTS: another file stands in its place.
absl::StatusOr<Fetched> Fetch(const FetchOptions& options);

}  // namespace tollgate::fetch
