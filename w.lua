wrk.method = "POST"
wrk.body = '{"query": "query Who { Me { _id userId email } }", "operationName": "Who"}'
wrk.headers["Content-Type"] = "application/json"
