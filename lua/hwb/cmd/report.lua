-- hwb report [RUN]: writes report.html into the run folder.
local sys = require "hwb.sys"
local records = require "hwb.records"

return function(options, rest)
  local run = records.find(rest[1] or "latest", options["run-dir"] or "runs")
  local html = require("hwb.report").html(run)
  if options.output == "-" then
    io.write(html)
    return 0
  end
  local path = options.output or run.dir .. "/report.html"
  local ok, why = sys.write(path, html)
  if not ok then sys.raise("EIO", why) end
  print(options.json and require("hwb").json.encode{schema = 1, report = path} or path)
  return 0
end
