"""The same with FastAPI, httpx and uvicorn."""

import sys

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response

app = FastAPI()
client = httpx.AsyncClient()


@app.post("/graphql")
async def graphql(request: Request) -> Response:
    fields = {"content-type": request.headers["content-type"], "authorization": "Bearer static"}
    answer = await client.post(sys.argv[2] + "/graphql", content=await request.body(), headers=fields)
    return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]))
